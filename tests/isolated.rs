//! Tests in processes of their own.

#[test]
fn plain() {
    termleash::test(async |t| {
        println!("hello from body {}", std::process::id());
        let shell = t.session("bash").await?;
        assert_eq!(shell.run("echo $((6 * 7))").await?.stdout(), "42");
        Ok(())
    });
}
#[test]
fn fails() {
    termleash::test(async |_t| {
        println!("about");
        Err("no route".into())
    });
}
#[test]
fn panics() {
    termleash::test(async |_t| panic!("boom"));
}
#[test]
#[should_panic(expected = "boom")]
fn should() {
    termleash::test(async |_t| panic!("boom 1"));
}
#[test]
fn dies() {
    termleash::test(async |t| {
        t.session("sh").await?.keep();
        std::process::abort()
    });
}
#[test]
fn isolated_plain() {
    termleash::isolated(|| assert_eq!(1, 2));
}
#[test]
fn leaves() {
    termleash::test(async |_t| {
        std::process::Command::new("sh").args(["-c", "setsid env -i sleep 1000 >/dev/null 2>&1 &"]).status()?;
        Ok(())
    });
}
