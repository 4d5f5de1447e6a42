//! Options that are known and have no effect yet: they are refused by name.

use super::Flag;

/// Long names (`-P`, `-F` and `-D` have none and stand for others).
pub const NOT_YET: &[&str] =
    &["confine-root", "copy-as", "fake-super", "only-write-batch", "read-batch", "write-batch"];

/// Whether the option does what it says.
pub fn works(flag: &Flag) -> bool {
    !NOT_YET.contains(&flag.long)
}
