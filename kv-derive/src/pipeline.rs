//! `KvModel`, from the struct to the code: one stage after the other.

use proc_macro2::TokenStream;
use quote::quote;
use syn::DeriveInput;

use crate::diagnostics::Diagnostics;
use crate::{expand, input, validate};

/// The whole derive. A struct with mistakes becomes their messages and a model that stands in
/// for it.
pub(crate) fn derive(item: DeriveInput) -> TokenStream {
    let mut diagnostics = Diagnostics::new();
    let input = input::read(item, &mut diagnostics);
    let model = input.map(|input| validate::validate(input, &mut diagnostics));
    match (diagnostics.finish(), model) {
        (None, Some(model)) => expand::expand(&model),
        (errors, model) => {
            let fallback = model.as_ref().map(expand::fallback);
            quote!(#errors #fallback)
        }
    }
}
