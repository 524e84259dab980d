"""The ``pescape`` command."""
