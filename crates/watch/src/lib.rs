//! Kernel events to marks on paths.
