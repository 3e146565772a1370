//! What compiles, and what the compiler says where it does not.
//!
//! `TRYBUILD=overwrite cargo test -p kv-tests --test ui` accepts new messages; read them first.

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
