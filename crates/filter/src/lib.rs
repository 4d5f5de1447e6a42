//! rsync filter rules: parse, match, inherit.
