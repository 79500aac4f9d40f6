//! The sources as a tree of modules. In: the file of the crate's root. Out: modules by path, and what a path names, seen from one of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, UseTree};

/// The path of a module or of an item in it, without `crate`.
pub type ItemPath = Vec<String>;

/// Every module of the crate.
pub struct Sources {
    modules: BTreeMap<ItemPath, Vec<Item>>,
}

/// What a path names.
pub enum Named<'a> {
    Module(ItemPath),
    /// The module that it is in, and the item.
    Item(ItemPath, &'a Item),
    /// Something of another crate.
    Foreign,
}

/// One name that a `use` brings: the path that is meant, and the name; `*` for all.
pub struct Import {
    pub path: ItemPath,
    pub name: String,
}

impl Sources {
    pub fn read(root: &Path) -> Self {
        let mut sources = Self {
            modules: BTreeMap::new(),
        };
        sources.load(Vec::new(), root.to_path_buf());
        sources
    }

    fn load(&mut self, path: ItemPath, file: PathBuf) {
        let text = std::fs::read_to_string(&file).expect("a source file");
        let parsed = syn::parse_file(&text).expect("Rust");
        let folder = match file.file_stem().and_then(|stem| stem.to_str()) {
            Some("lib" | "mod") => file.with_file_name(""),
            _ => file.with_extension(""),
        };
        self.add(path, parsed.items, &folder);
    }

    fn add(&mut self, path: ItemPath, items: Vec<Item>, folder: &Path) {
        let items: Vec<_> = items
            .into_iter()
            .filter(|item| !attributes(item).iter().any(is_for_tests))
            .collect();
        for item in &items {
            let Item::Mod(module) = item else { continue };
            let name = module.ident.to_string();
            let inner = [path.clone(), vec![name.clone()]].concat();
            match &module.content {
                Some((_, items)) => self.add(inner, items.clone(), &folder.join(&name)),
                None => {
                    let flat = folder.join(format!("{name}.rs"));
                    let nested = folder.join(&name).join("mod.rs");
                    let file = [flat, nested].into_iter().find(|file| file.exists());
                    self.load(inner, file.expect("the module's file"));
                }
            }
        }
        self.modules.insert(path, items);
    }

    pub fn items(&self, module: &ItemPath) -> &[Item] {
        &self.modules[module]
    }

    pub fn modules(&self) -> impl Iterator<Item = (&ItemPath, &Vec<Item>)> {
        self.modules.iter()
    }

    /// What `path`, as written in `module`, names.
    pub fn resolve(&self, module: &ItemPath, path: &[String]) -> Named<'_> {
        self.walk(module, path, 0)
    }

    fn walk(&self, module: &ItemPath, path: &[String], depth: usize) -> Named<'_> {
        let Some((first, rest)) = path.split_first() else {
            return Named::Module(module.clone());
        };
        if depth > 30 {
            return Named::Foreign;
        }
        match first.as_str() {
            "crate" => return self.walk(&Vec::new(), rest, depth + 1),
            "self" => return self.walk(module, rest, depth + 1),
            "super" => {
                let parent = module[..module.len() - 1].to_vec();
                return self.walk(&parent, rest, depth + 1);
            }
            _ => {}
        }
        let inner = [module.clone(), vec![first.clone()]].concat();
        if self.modules.contains_key(&inner) {
            return self.walk(&inner, rest, depth + 1);
        }
        let Some(items) = self.modules.get(module) else {
            return Named::Foreign;
        };
        if rest.is_empty()
            && let Some(item) = items.iter().find(|item| name(item).as_ref() == Some(first))
        {
            return Named::Item(module.clone(), item);
        }
        for import in items.iter().flat_map(imports) {
            let found = match import.name.as_str() {
                // What a glob brings may also not be there.
                "*" => self.walk(
                    module,
                    &[import.path, vec![first.clone()], rest.to_vec()].concat(),
                    depth + 1,
                ),
                name if name == first && import.path != [first.clone()] => {
                    self.walk(module, &[import.path, rest.to_vec()].concat(), depth + 1)
                }
                _ => continue,
            };
            if !matches!(found, Named::Foreign) {
                return found;
            }
        }
        Named::Foreign
    }
}

/// The name by which an item is found.
pub fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(it) => &it.ident,
        Item::Enum(it) => &it.ident,
        Item::Fn(it) => &it.sig.ident,
        Item::Static(it) => &it.ident,
        Item::Struct(it) => &it.ident,
        Item::Trait(it) => &it.ident,
        Item::Type(it) => &it.ident,
        Item::Macro(it) => it.ident.as_ref()?,
        _ => return None,
    };
    Some(ident.to_string())
}

/// What a `use` brings; nothing for other items.
pub fn imports(item: &Item) -> Vec<Import> {
    let mut found = Vec::new();
    if let Item::Use(it) = item {
        collect(&it.tree, Vec::new(), &mut found);
    }
    found
}

fn collect(tree: &UseTree, mut path: ItemPath, found: &mut Vec<Import>) {
    match tree {
        UseTree::Path(it) => {
            path.push(it.ident.to_string());
            collect(&it.tree, path, found);
        }
        UseTree::Name(it) if it.ident == "self" => {
            let name = path.last().expect("a path before self").clone();
            found.push(Import { path, name });
        }
        UseTree::Name(it) => {
            let name = it.ident.to_string();
            path.push(name.clone());
            found.push(Import { path, name });
        }
        UseTree::Rename(it) => {
            path.push(it.ident.to_string());
            let name = it.rename.to_string();
            found.push(Import { path, name });
        }
        UseTree::Glob(_) => {
            let name = "*".to_string();
            found.push(Import { path, name });
        }
        UseTree::Group(it) => {
            for tree in &it.items {
                collect(tree, path.clone(), found);
            }
        }
    }
}

pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(it) => &it.attrs,
        Item::Enum(it) => &it.attrs,
        Item::Fn(it) => &it.attrs,
        Item::Impl(it) => &it.attrs,
        Item::Macro(it) => &it.attrs,
        Item::Mod(it) => &it.attrs,
        Item::Static(it) => &it.attrs,
        Item::Struct(it) => &it.attrs,
        Item::Trait(it) => &it.attrs,
        Item::Type(it) => &it.attrs,
        Item::Use(it) => &it.attrs,
        _ => &[],
    }
}

fn is_for_tests(attribute: &Attribute) -> bool {
    let text = match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string(),
        _ => return false,
    };
    !text.contains("not")
        && ["test", "planted_defects"].iter().any(|word| {
            text.split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|it| it == *word || it == "doctest")
        })
}
