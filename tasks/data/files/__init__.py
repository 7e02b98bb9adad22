"""A user's own files, in the forms that they mostly have."""
