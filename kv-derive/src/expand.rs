//! From a model to the code of its items, in the order of the docs. Cannot fail.
//!
//! Above each emitter stands a sketch of what it emits.

mod checks;
mod descriptor;
mod diesel;
mod fallback;
mod field_enum;
mod fields;
mod finders;
mod kv_model;
mod new_row;
mod patch;
mod repository;
mod version;

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::quote;
use syn::Type;
use syn::spanned::Spanned;

use crate::model::Model;

pub(crate) use fallback::fallback;

/// Everything that the derive writes for a model.
pub(crate) fn expand(model: &Model) -> TokenStream {
    let field_enum = field_enum::expand(model);
    let fields = fields::expand(model);
    let patch = patch::expand(model);
    let finders = finders::expand(model);
    let repository = repository::expand(model);
    let checks = checks::expand(model);
    let kv_model = kv_model::expand(model);
    let kv_patch = patch::expand_kv_patch(model);
    let kv_versioned = version::expand(model);
    let new_row = new_row::expand(model);
    let kv_new_row = new_row::expand_traits(model);
    let diesel = diesel::expand(model);
    quote! {
        #field_enum
        #fields
        #patch
        #finders
        #new_row
        #repository
        #[automatically_derived]
        const _: () = {
            #checks
            #kv_model
            #kv_patch
            #kv_versioned
            #kv_new_row
        };
        #diesel
    }
}

/// Puts tokens where a type stands, so that a message about them leads to the field.
pub(crate) fn at_type(ty: &Type, tokens: TokenStream) -> TokenStream {
    at(ty.span(), tokens)
}

/// Puts tokens at a place of the user's.
///
/// Names keep the hygiene they have: only the place they are shown at changes.
fn at(span: Span, tokens: TokenStream) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut tree| {
            if let TokenTree::Group(group) = &tree {
                tree = Group::new(group.delimiter(), at(span, group.stream())).into();
            }
            tree.set_span(tree.span().located_at(span));
            tree
        })
        .collect()
}

/// A part alone, or the parts as a tuple: the shape of ids.
fn one_or_tuple(parts: impl ExactSizeIterator<Item = TokenStream>) -> TokenStream {
    match parts.len() {
        1 => quote!(#(#parts)*),
        _ => quote!((#(#parts),*)),
    }
}
