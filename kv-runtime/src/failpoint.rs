//! Places where a test can stop the process, between every two steps of a batch.

/// Does nothing, unless the feature `failpoints` is on and a test configured the point.
#[inline]
pub(crate) fn reach(name: &str) {
    #[cfg(feature = "failpoints")]
    {
        // The crate's macro takes the name as it is; its action runs here.
        fail::fail_point!(name);
    }
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
}
