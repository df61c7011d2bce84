"""Language models behind one port. Import from the module that defines a name."""
