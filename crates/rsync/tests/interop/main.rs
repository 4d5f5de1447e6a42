//! rsync 3.5.0 and driftless at each other's end, over real transports, against two real ones.

mod cells;
mod effects;
mod filters;
mod ground;
mod killed;
mod matrix;
mod random;
mod sets;
mod system;
mod trees;
mod trouble;
