//! The service over HTTP, in memory and on real servers, with stubs of the processors.

mod payments {
    mod common;

    mod api;
    mod compose;
    mod config;
    mod delivery;
    mod health;
    mod load;
    mod restarts;
    mod storage;
}
