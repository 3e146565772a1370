//! The start-up checks, each on real servers: what is found, what is said of it, and how it is
//! overridden.

mod checks {
    mod drainer;
    mod log;
    mod schema;
    mod servers;
    mod stored;
}
