//! The service over HTTP, in memory and on real servers, with stubs of the processors.

mod payments {
    mod common;

    mod api;
    mod config;
    mod storage;
}
