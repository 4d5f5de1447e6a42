//! The mirror engine: marks in, acknowledged batches out.
