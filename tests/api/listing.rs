//! The public items, as text. In: the sources. Out: for each public path, what stands there, without bodies, private fields and comments.

use std::collections::{BTreeMap, BTreeSet};

use quote::ToTokens;
use syn::{Attribute, Fields, ImplItem, Item, ItemImpl, TraitItem, Type, Visibility, parse_quote};

use super::sources::{ItemPath, Named, Sources, attributes, imports, name};

/// Every public item, sorted by its path.
pub fn list(sources: &Sources) -> String {
    let mut listing = Listing {
        sources,
        impls: implementations(sources),
        generated: generated(sources),
        found: BTreeMap::new(),
        seen: BTreeSet::new(),
    };
    listing.module(&Vec::new(), &Vec::new());
    let mut text = String::new();
    for (path, items) in &listing.found {
        for item in items {
            text.push_str(&format!("// {path}\n{item}\n"));
        }
    }
    text
}

/// The implementations of each type, by where the type is defined.
fn implementations(sources: &Sources) -> BTreeMap<(ItemPath, String), Vec<&ItemImpl>> {
    let mut found = BTreeMap::<_, Vec<&ItemImpl>>::new();
    for (module, items) in sources.modules() {
        for item in items {
            let Item::Impl(implementation) = item else {
                continue;
            };
            let Type::Path(path) = &*implementation.self_ty else {
                continue;
            };
            let segments = path.path.segments.iter();
            let path: Vec<_> = segments.map(|it| it.ident.to_string()).collect();
            if let Named::Item(home, item) = sources.resolve(module, &path) {
                let name = name(item).expect("a type has a name");
                found.entry((home, name)).or_default().push(implementation);
            }
        }
    }
    found
}

/// The methods that macros of ours write for each type that they are called with, by where the type is defined.
fn generated(sources: &Sources) -> BTreeMap<(ItemPath, String), Vec<ItemImpl>> {
    let macros = || {
        let items = sources
            .modules()
            .flat_map(|(module, items)| items.iter().map(move |item| (module, item)));
        items.filter_map(|(module, item)| match item {
            Item::Macro(it) => Some((module, it)),
            _ => None,
        })
    };
    let mut found = BTreeMap::<_, Vec<ItemImpl>>::new();
    for (module, call) in macros().filter(|(_, it)| it.ident.is_none()) {
        let rules = macros().find(|(_, it)| it.ident.as_ref() == call.mac.path.get_ident());
        let Some((_, rules)) = rules else { continue };
        let methods = methods(&rules.mac.tokens.to_string());
        for word in call.mac.tokens.clone() {
            if let Ok(ident) = syn::parse_str::<syn::Ident>(&word.to_string())
                && let Named::Item(home, item @ (Item::Struct(_) | Item::Enum(_))) =
                    sources.resolve(module, &[ident.to_string()])
            {
                let name = name(item).expect("a type has a name");
                let written = methods
                    .iter()
                    .map(|method| parse_quote!(impl #ident { #method }));
                found.entry((home, name)).or_default().extend(written);
            }
        }
    }
    found
}

/// The public methods in the rules of a macro.
fn methods(rules: &str) -> Vec<syn::ImplItemFn> {
    let signatures = ["pub fn", "pub async fn"].into_iter().flat_map(|start| {
        let places = rules.match_indices(start);
        places.filter_map(|(at, _)| {
            let signature = rules[at..].split('{').next()?;
            syn::parse_str(&format!("{} {{}}", signature.replace('$', ""))).ok()
        })
    });
    signatures.collect()
}

struct Listing<'a> {
    sources: &'a Sources,
    impls: BTreeMap<(ItemPath, String), Vec<&'a ItemImpl>>,
    generated: BTreeMap<(ItemPath, String), Vec<ItemImpl>>,
    found: BTreeMap<String, BTreeSet<String>>,
    seen: BTreeSet<(ItemPath, ItemPath)>,
}

impl<'a> Listing<'a> {
    /// Lists what is public in `module`, which users know as `public`.
    fn module(&mut self, module: &ItemPath, public: &ItemPath) {
        if !self.seen.insert((module.clone(), public.clone())) {
            return;
        }
        let sources = self.sources;
        for item in sources.items(module) {
            match item {
                Item::Mod(inner) if is_public(&inner.vis) => {
                    let name = inner.ident.to_string();
                    let inner = [module.clone(), vec![name.clone()]].concat();
                    self.module(&inner, &[public.clone(), vec![name]].concat());
                }
                Item::Use(it) if is_public(&it.vis) => {
                    for import in imports(item) {
                        self.import(module, public, import.path, import.name);
                    }
                }
                Item::Macro(it) if it.attrs.iter().any(|it| it.path().is_ident("macro_export")) => {
                    let name = name(item).expect("a macro has a name");
                    self.note(&[], &name, format!("macro_rules! {name}"));
                }
                Item::Use(_) | Item::Mod(_) | Item::Impl(_) | Item::Macro(_) => {}
                item => self.item(module, public, item, None),
            }
        }
    }

    fn import(&mut self, module: &ItemPath, public: &ItemPath, path: ItemPath, name: String) {
        match self.sources.resolve(module, &path) {
            Named::Module(inner) if name == "*" => self.module(&inner, public),
            Named::Module(inner) => self.module(&inner, &[public.clone(), vec![name]].concat()),
            Named::Item(home, item) => self.item(&home, public, item, Some(name)),
            Named::Foreign => {
                let text = format!("pub use {};", path.join("::"));
                self.note(public, &name, text);
            }
        }
    }

    fn item(&mut self, home: &ItemPath, public: &ItemPath, item: &'a Item, alias: Option<String>) {
        let Some(own_name) = name(item) else { return };
        let is_hidden = attributes(item).iter().any(|it| {
            it.path().is_ident("doc") && it.to_token_stream().to_string().contains("hidden")
        });
        let Some(shown) = declaration(item).filter(|_| !is_hidden) else {
            return;
        };
        let mut text = pretty(shown);
        let of = (home.clone(), own_name.clone());
        let written = self.impls.get(&of).into_iter().flatten().copied();
        let generated = self.generated.get(&of).into_iter().flatten();
        let mut lines = BTreeSet::new();
        for implementation in written.chain(generated) {
            lines.extend(implemented(implementation));
        }
        for line in lines {
            text.push_str(&line);
        }
        self.note(public, &alias.unwrap_or(own_name), text);
    }

    fn note(&mut self, public: &[String], name: &str, text: String) {
        let path = [public, &[name.to_string()]].concat().join("::");
        self.found.entry(path).or_default().insert(text);
    }
}

/// What an implementation adds to the API of its type.
fn implemented(implementation: &ItemImpl) -> Vec<String> {
    let mut empty = implementation.clone();
    empty.attrs.clear();
    if let Some((path, _)) = &empty.trait_ {
        let is_internal = path.segments.iter().any(|it| it.ident == "Drop");
        empty.items.retain(|item| matches!(item, ImplItem::Type(_)));
        return match is_internal {
            true => Vec::new(),
            false => vec![pretty(Item::Impl(empty))],
        };
    }
    let each = implementation.items.iter().filter_map(|item| {
        let mut one = empty.clone();
        one.items = match item.clone() {
            ImplItem::Fn(mut it) if is_public(&it.vis) => {
                keep(&mut it.attrs);
                it.block = parse_quote!({});
                vec![ImplItem::Fn(it)]
            }
            ImplItem::Const(mut it) if is_public(&it.vis) => {
                keep(&mut it.attrs);
                it.expr = parse_quote!(_);
                vec![ImplItem::Const(it)]
            }
            _ => return None,
        };
        Some(pretty(Item::Impl(one)))
    });
    each.collect()
}

/// The item as users see it; `None` when they do not.
fn declaration(item: &Item) -> Option<Item> {
    let mut item = item.clone();
    match &mut item {
        Item::Struct(it) if is_public(&it.vis) => {
            keep(&mut it.attrs);
            if let Fields::Named(fields) = &mut it.fields {
                let all = fields.named.len();
                let public = fields.named.iter().filter(|field| is_public(&field.vis));
                fields.named = public.cloned().collect();
                if fields.named.len() < all {
                    fields.named.push(parse_quote!(_private: _));
                }
            } else if let Fields::Unnamed(fields) = &mut it.fields {
                for field in &mut fields.unnamed {
                    if !is_public(&field.vis) {
                        field.ty = parse_quote!(_);
                    }
                }
            }
            it.fields
                .iter_mut()
                .for_each(|field| keep(&mut field.attrs));
        }
        Item::Enum(it) if is_public(&it.vis) => {
            keep(&mut it.attrs);
            for variant in &mut it.variants {
                keep(&mut variant.attrs);
                variant
                    .fields
                    .iter_mut()
                    .for_each(|field| keep(&mut field.attrs));
            }
        }
        Item::Trait(it) if is_public(&it.vis) => {
            keep(&mut it.attrs);
            for item in &mut it.items {
                match item {
                    TraitItem::Fn(it) => {
                        keep(&mut it.attrs);
                        if it.default.is_some() {
                            it.default = Some(parse_quote!({}));
                        }
                    }
                    TraitItem::Type(it) => keep(&mut it.attrs),
                    TraitItem::Const(it) => keep(&mut it.attrs),
                    _ => {}
                }
            }
        }
        Item::Fn(it) if is_public(&it.vis) => {
            keep(&mut it.attrs);
            it.block = parse_quote!({});
        }
        Item::Const(it) if is_public(&it.vis) => {
            keep(&mut it.attrs);
            it.expr = parse_quote!(_);
        }
        Item::Static(it) if is_public(&it.vis) => {
            keep(&mut it.attrs);
            it.expr = parse_quote!(_);
        }
        Item::Type(it) if is_public(&it.vis) => keep(&mut it.attrs),
        _ => return None,
    }
    Some(item)
}

/// Leaves of the attributes what users depend on.
fn keep(attributes: &mut Vec<Attribute>) {
    let counts = [
        "non_exhaustive",
        "derive",
        "must_use",
        "deprecated",
        "default",
    ];
    attributes.retain(|it| counts.iter().any(|name| it.path().is_ident(name)));
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn pretty(item: Item) -> String {
    prettyplease::unparse(&syn::File {
        shebang: None,
        frontmatter: None,
        attrs: Vec::new(),
        items: vec![item],
    })
}
