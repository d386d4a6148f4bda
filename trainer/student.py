"""Student: what `distill` left behind, ready to infer.

distill/student.pt -> load_student -> quantize, probe; and the lessons of another run that has it for a teacher
"""

from pathlib import Path

from trainer.checkpoint import read_checkpoint
from trainer.errors import TrainerError
from trainer.nets import RANDOM, Net, build_net
from trainer.recipe import Recipe
from trainer.stage import Stage

__all__ = ["load_student"]


def load_student(run: Path, recipe: Recipe | None = None) -> Net:
    """The student that `distill` trained.

    Args:
        recipe: whose network and labels it must have; None takes any.

    Raises:
        StageMissing: there is none.
        TrainerError: it was trained by another recipe, or by another version of the trainer.
    """
    _, result = Stage.result_of(run, "distill")
    if recipe is not None and (result["net"], result["labels"]) != (recipe.net, list(recipe.data.labels)):
        raise TrainerError(
            f"{run}: its student is a {result['net']} of {', '.join(result['labels'])}, but recipe {recipe.name} asks "
            f"for a {recipe.net} of {', '.join(recipe.data.labels)}; give its own with --recipe, or another --run"
        )
    net = build_net(result["net"], len(result["labels"]), RANDOM)
    kept = run / "distill" / "student.pt"
    try:
        net.load_state_dict(read_checkpoint(kept)["net"])
    except RuntimeError as error:
        raise TrainerError(
            f"{kept}: its tensors are not those of the {result['net']} that this version of the trainer builds; "
            "train it again: trainer distill"
        ) from error
    return net.eval()
