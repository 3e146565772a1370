//! The model as data.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Index, Path};

use super::at_type;
use crate::model::{Durability, Field, Model, ModelIndex, ModelReference, Numeric};

// {
//     let __columns: &'static [_] = &[::kv_runtime::ColumnDescriptor { field: "id", … }, …];
//     &::kv_runtime::ModelDescriptor {
//         name: "Booking",
//         table: "bookings",
//         …
//         columns: __columns,
//         fingerprint: ::kv_runtime::__private::fingerprint(__columns),
//     }
// }
pub(super) fn expand(model: &Model) -> TokenStream {
    let columns: Vec<TokenStream> = model.fields.iter().map(|field| column(model, field)).collect();
    with_columns(model, &columns, &id_is_fresh(model))
}

/// A descriptor that compiles whatever the types of the fields are.
pub(super) fn expand_empty(model: &Model) -> TokenStream {
    with_columns(model, &[], &quote!(false))
}

fn with_columns(model: &Model, columns: &[TokenStream], id_is_fresh: &TokenStream) -> TokenStream {
    let Model { runtime, table, key_prefix, queue, .. } = model;
    let id = model.id.iter().copied().map(Index::from);
    let partition_by = model.partition_by.iter().copied().map(Index::from);
    let name = crate::naming::unraw(&model.ident);
    let ttl = match model.ttl_seconds {
        Some(seconds) => {
            quote!(::core::option::Option::Some(::core::time::Duration::from_secs(#seconds)))
        }
        None => quote!(::core::option::Option::None),
    };
    let durability = durability(model);
    let scheme = scheme(model);
    let unique = indexes(model, &model.unique);
    let indexes = indexes(model, &model.indexes);
    let references = references(model);
    let checks = &model.checks;
    let version = match model.version.map(Index::from) {
        Some(version) => quote!(::core::option::Option::Some(#version)),
        None => quote!(::core::option::Option::None),
    };
    let serial = match model.serial.map(Index::from) {
        Some(serial) => quote!(::core::option::Option::Some(#serial)),
        None => quote!(::core::option::Option::None),
    };
    quote! {{
        let __columns: &'static [#runtime::ColumnDescriptor] = &[#(#columns),*];
        &#runtime::ModelDescriptor {
            name: #name,
            table: #table,
            key_prefix: #key_prefix,
            queue: #queue,
            columns: __columns,
            id: &[#(#id),*],
            id_is_fresh: #id_is_fresh,
            partition_by: &[#(#partition_by),*],
            ttl: #ttl,
            durability: #durability,
            scheme: #scheme,
            unique: #unique,
            indexes: #indexes,
            references: #references,
            checks: &[#(#checks),*],
            version: #version,
            serial: #serial,
            fingerprint: #runtime::__private::fingerprint(__columns),
        }
    }}
}

fn indexes(model: &Model, indexes: &[ModelIndex]) -> TokenStream {
    let runtime = &model.runtime;
    let indexes = indexes.iter().map(|ModelIndex { name, fields, when }| {
        let fields = fields.iter().copied().map(Index::from);
        let when = match when {
            Some(when) => quote!(::core::option::Option::Some(#when)),
            None => quote!(::core::option::Option::None),
        };
        quote!(#runtime::IndexDescriptor { name: #name, columns: &[#(#fields),*], when: #when })
    });
    quote!(&[#(#indexes),*])
}

fn references(model: &Model) -> TokenStream {
    let runtime = &model.runtime;
    let references = model.references.iter().map(|ModelReference { fields, table, columns }| {
        let fields = fields.iter().copied().map(Index::from);
        quote! {
            #runtime::ReferenceDescriptor {
                columns: &[#(#fields),*],
                table: #table,
                targets: &[#(#columns),*],
            }
        }
    });
    quote!(&[#(#references),*])
}

fn durability(model: &Model) -> TokenStream {
    let runtime = &model.runtime;
    let timeout = |ms: u64| quote!(::core::time::Duration::from_millis(#ms));
    let mode = match model.durability {
        None => return quote!(::core::option::Option::None),
        Some(Durability::Fast) => quote!(Fast),
        Some(Durability::Replicated { replicas, timeout_ms }) => {
            let timeout = timeout(timeout_ms);
            quote!(Replicated { replicas: #replicas, timeout: #timeout })
        }
        Some(Durability::Fsynced { timeout_ms }) => {
            let timeout = timeout(timeout_ms);
            quote!(Fsynced { timeout: #timeout })
        }
    };
    quote!(::core::option::Option::Some(#runtime::Durability::#mode))
}

fn scheme(model: &Model) -> TokenStream {
    let runtime = &model.runtime;
    match model.scheme {
        None => quote!(::core::option::Option::None),
        Some(scheme) => {
            let scheme = format_ident!("{scheme}");
            quote!(::core::option::Option::Some(#runtime::StorageScheme::#scheme))
        }
    }
}

/// A UUID of its own is client-made. One among several fields may well be another row's, so
/// that of a composite id nothing follows.
fn id_is_fresh(model: &Model) -> TokenStream {
    let runtime = &model.runtime;
    let declared = model.id_is_declared_fresh.or(model.serial.is_some().then_some(true));
    match (declared, model.id.as_slice()) {
        (Some(declared), _) => quote!(#declared),
        (None, [only]) => {
            let ty = &model.fields[*only].ty;
            quote! {
                ::core::matches!(<#ty as #runtime::KvValue>::TYPE, #runtime::ColumnType::Uuid)
            }
        }
        (None, _) => quote!(false),
    }
}

/// How many digits a column keeps.
pub(super) fn numeric_bounds(runtime: &Path, bounds: Numeric) -> TokenStream {
    let [precision, scale] = [bounds.precision, bounds.scale].map(usize::from).map(Index::from);
    quote!(#runtime::NumericBounds { precision: #precision, scale: #scale })
}

fn column(model: &Model, field: &Field) -> TokenStream {
    let runtime = &model.runtime;
    let Field { name, hash_name, column, ty, is_read_only, numeric, .. } = field;
    let column_type = at_type(ty, quote!(<#ty as #runtime::KvValue>::TYPE));
    let nullable = at_type(ty, quote!(<#ty as #runtime::KvValue>::NULLABLE));
    let numeric = match numeric {
        Some(bounds) => {
            let bounds = numeric_bounds(runtime, *bounds);
            quote!(::core::option::Option::Some(#bounds))
        }
        None => quote!(::core::option::Option::None),
    };
    quote! {
        #runtime::ColumnDescriptor {
            field: #name,
            name: #hash_name,
            column: #column,
            ty: #column_type,
            numeric: #numeric,
            nullable: #nullable,
            read_only: #is_read_only,
        }
    }
}
