//! Where lists and content come from on this machine.
