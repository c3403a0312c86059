"""The learner: DeepSpeed ZeRO-3, losses, advantages, packing, weight export. No Ray."""
