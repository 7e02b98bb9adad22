"""The Keras models of the tasks, their building blocks and their losses."""
