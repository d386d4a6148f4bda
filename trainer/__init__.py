"""The workstation: photographs -> dataset -> distill -> quantize -> evaluate -> pack."""
