//! What the tests share: the pairs of stores they run over, and the models.

pub mod models;
pub mod pair;
