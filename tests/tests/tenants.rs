//! Tenants of one pair: what they have does not meet, wherever it is, and one drainer serves them all.

mod tenants {
    mod common;

    mod apart;
    mod drainers;
    mod names;
    mod postgresql;
    mod rest;
    mod search_path;
    mod servers;
    mod turns;
}
