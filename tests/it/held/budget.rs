//! Wrong codes through the pages obey the same numbers as those of programs.

use super::{FORM, Question, is_page, sent, world};

#[tokio::test(flavor = "multi_thread")]
async fn ten_wrong_codes_close_the_question_and_then_the_account_for_longer_and_longer() {
    let (world, alice) = world().await;
    for (minutes, form) in [(15, FORM.to_owned()), (30, format!("{FORM}&again=1"))] {
        let question = Question::of(&alice, &form).await;
        for left in (1..5).rev() {
            let page = question.answer(&alice, "000000").await;
            assert_eq!(page.status, 403, "{}", page.text());
            let words = format!("Attempts left: {left}");
            assert!(page.text().contains(&words), "{words} is not in {}", page.text());
        }
        is_page(&question.answer(&alice, "000000").await, 423, &["Too many wrong codes"]);
        // Not even the right code opens it again, nor does any other request get a question.
        world.wait_s(30);
        let right = question.answer(&alice, &world.totp()).await;
        assert!([423, 429].contains(&right.status.as_u16()), "{}", right.text());
        assert_eq!(question.release(&alice).await.status, 423);
        let other = alice.post_form("/withdraw", "asset=ETH&amount=1&address=0xother").await;
        is_page(&other, 429, &["Too many attempts", super::NOT_KEPT]);
        let wait = other.header("retry-after").parse::<i64>().unwrap();
        assert_eq!(wait, minutes * 60 - 30, "the account is closed for {minutes} minutes");
        world.wait_s(wait - 1);
        assert_eq!(alice.post_form("/withdraw", FORM).await.status, 429);
        world.wait_s(1);
    }
    let question = Question::of(&alice, FORM).await;
    question.confirm(&world, &alice).await;
    assert_eq!(question.release(&alice).await.status, 200);
    assert_eq!(sent(&world), 1);
}
