//! What the compiler says to mistakes.
//!
//! `TRYBUILD=overwrite cargo test -p kv-ui-tests --test compile_fail` accepts new messages; read
//! them first.

#[test]
fn mistakes_are_told_where_they_are() {
    // With nothing that is to pass, everything is only checked, not built.
    trybuild::TestCases::new().compile_fail("fail/*.rs");
}
