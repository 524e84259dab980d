"""Configurations in files: reading and writing, with errors that name file and frame."""
