//! Queries: what they answer in memory and on servers, drained or not.

mod queries {
    mod samples;

    mod consistency;
    mod held;
    mod many;
    mod nulls;
    mod operations;
    mod overlay;
    mod pages;
    mod random;
    mod tails;
}
