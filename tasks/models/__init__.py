"""The tasks' Keras models, their parts and their losses."""
