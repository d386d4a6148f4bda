/* Count executed guest instructions: a plugin of qemu-user.
 *
 *   -plugin count.so,out=FILE[,clock=on]   ->   FILE: one line "TAG COUNT" for each mark that the guest makes
 *
 * A mark is lseek(MARK, TAG, 0): a call that fails and does nothing else. With clock=on, each clock_gettime gives a
 * line "clock COUNT" too: onnxruntime's profiler reads the clock before and after every layer.
 *
 * Debian's qemu-user comes without a header for plugins, so what is used of its interface (version 1) is declared here.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define MARK (-24301)
#define LSEEK 62          /* numbers of aarch64 */
#define CLOCK_GETTIME 113
#define ADD_U64 0

struct qemu_plugin_tb;
struct qemu_info;
typedef void on_translated(uint64_t id, struct qemu_plugin_tb *block);
typedef void on_syscall(uint64_t id, unsigned cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                        uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8);

extern void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, on_translated *call);
extern void qemu_plugin_register_vcpu_syscall_cb(uint64_t id, on_syscall *call);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *block, int op, void *sum, uint64_t step);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);

EXPORT int qemu_plugin_version = 1;

static uint64_t count;
static FILE *out;
static int with_clock;

static void translated(uint64_t id, struct qemu_plugin_tb *block)
{
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &count, qemu_plugin_tb_n_insns(block));
}

static void called(uint64_t id, unsigned cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                   uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)cpu, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number == LSEEK && (int32_t)a1 == MARK) {
        fprintf(out, "%" PRIu64 " %" PRIu64 "\n", a2, count);
        fflush(out);
    } else if (with_clock && number == CLOCK_GETTIME) {
        fprintf(out, "clock %" PRIu64 "\n", count);
    }
}

EXPORT int qemu_plugin_install(uint64_t id, const struct qemu_info *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "out=", 4) == 0)
            out = fopen(argv[i] + 4, "w");
        else if (strcmp(argv[i], "clock=on") == 0)
            with_clock = 1;
    }
    if (out == NULL)
        return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
