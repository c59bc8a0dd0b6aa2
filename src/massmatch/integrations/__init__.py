"""How the losses plug into other frameworks."""
