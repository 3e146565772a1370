//! `KvValue`: the same stages as for a model, for enums and newtypes.

mod expand;
mod input;
mod model;
mod validate;

use proc_macro2::TokenStream;
use syn::DeriveInput;

use crate::diagnostics::Diagnostics;

/// The whole derive.
pub(crate) fn derive(input: DeriveInput) -> TokenStream {
    let mut diagnostics = Diagnostics::new();
    let input = input::read(input, &mut diagnostics);
    let value = input.map(|input| validate::validate(input, &mut diagnostics));
    match (diagnostics.finish(), value) {
        (None, Some(value)) => expand::expand(&value),
        (errors, value) => {
            let fallback = value.as_ref().map(expand::fallback);
            quote::quote!(#errors #fallback)
        }
    }
}
