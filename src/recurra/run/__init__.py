"""Floor 5: training, checkpoints and run folders. They know a task by its protocol only."""
