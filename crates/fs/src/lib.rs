//! The only door to the disk: a root that no path escapes.
