//! What the tests share: the pairs of stores they run over, the models, a look at the servers from
//! outside, drainers that are killed, the load and the log that show what becomes of it, and the
//! fuzz targets.

pub mod audit;
pub mod counting;
pub mod drain_process;
pub mod fuzzing;
pub mod models;
pub mod outside;
pub mod pair;
pub mod revisions;
pub mod waiting;
pub mod writers;
