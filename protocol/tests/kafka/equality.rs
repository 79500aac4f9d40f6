pub fn compare(_: &crate::support::java::Jdk) {}
