//! The contract of the storage: what business code may rely on, in memory, on PostgreSQL alone and
//! on Redis with PostgreSQL.

mod contract {
    pub(crate) mod backend;
    mod buckets;
    mod client;
    mod files;
    mod migrating;
    mod payments;
    mod providers;
    mod reports;
    pub(crate) mod samples;
    mod services;
    mod setup;
    mod state;
    mod story;
    mod values;
}
