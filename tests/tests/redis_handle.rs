//! The handle on Redis itself: every family of commands, tenants, and what a server or a
//! connection that fails comes to.

mod redis_handle {
    mod common;

    mod access;
    mod cluster;
    mod collections;
    mod forms;
    mod groups;
    mod locks;
    mod outages;
    mod pubsub;
    mod scripts;
    mod streams;
    mod strings;
    mod tenants;
    mod types;
}
