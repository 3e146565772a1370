//! The storage schemes: what each promises beside the contract suite, and the way from one to
//! another while everything is in use.

mod schemes {
    mod kills;
    mod postgres_alone;
    mod redis_alone;
    mod refusals;
    mod servers;
    mod switches;
}
