//! What the tests share: the pairs of stores they run over, the models, a look at the servers
//! from outside, and the fuzz targets.

pub mod fuzzing;
pub mod models;
pub mod outside;
pub mod pair;
