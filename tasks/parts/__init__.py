"""What the tasks are built from; no module here is a task."""
