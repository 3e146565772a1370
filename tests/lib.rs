//! What the tests share: the pairs of stores they run over, the models, and a look at the
//! servers from outside.

pub mod models;
pub mod outside;
pub mod pair;
