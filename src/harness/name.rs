//! What a test is called.

/// libtest names each test's thread after the test, which is right also for parameterised tests, macros and wrappers. On a
/// thread without a name, and on the first one of a program, the type of the body has the function's path in it.
pub(crate) fn of_test<F>() -> String {
    of_thread().unwrap_or_else(|| stripped(std::any::type_name::<F>()))
}

/// The name that libtest has given this thread, if it has.
pub(crate) fn of_thread() -> Option<String> {
    std::thread::current().name().filter(|name| *name != "main").map(str::to_owned)
}

/// Without the closures that the body is within its function.
fn stripped(path: &str) -> String {
    path.trim_end_matches("::{{closure}}").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of<F>(_body: F) -> String {
        of_test::<F>()
    }

    #[test]
    fn the_thread_has_the_name_of_the_test() {
        assert_eq!(name_of(|| ()), "harness::name::tests::the_thread_has_the_name_of_the_test");
    }

    #[test]
    fn without_a_threads_name_the_function_around_the_body_names_it() {
        let name = std::thread::spawn(|| name_of(|| ())).join().unwrap();
        let function = "termleash::harness::name::tests::without_a_threads_name_the_function_around_the_body_names_it";
        assert_eq!(name, function);
    }
}
