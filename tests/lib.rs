//! What the tests share: the pairs of stores they run over, the models, a look at the servers from
//! outside, drainers that are killed, and the load and the log that show what becomes of it.

pub mod audit;
pub mod drain_process;
pub mod models;
pub mod outside;
pub mod pair;
pub mod writers;
