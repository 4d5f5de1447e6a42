//! Block signatures and token search over byte slices.
