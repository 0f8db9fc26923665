use super::*;

#[test]
fn a_turn_ends_at_the_first_mark_of_any_family() {
    for mark in [
        "<|im_end|>",
        "<|im_start|>",
        "<|endoftext|>",
        "<|end_of_text|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|eot|>",
        "<|start_header_id|>",
        "<|header_start|>",
        "<end_of_turn>",
        "<start_of_turn>",
        "<eos>",
        "</s>",
        "[INST]",
        "[/INST]",
        "<|end|>",
        "<|user|>",
        "<|assistant|>",
        "<|return|>",
        "<\u{ff5c}end\u{2581}of\u{2581}sentence\u{ff5c}>",
        "<\u{ff5c}User\u{ff5c}>",
        "<|EOT|>",
        "<|END_OF_TURN_TOKEN|>",
        "<EOS_TOKEN>",
        "[|endofturn|]",
        "<|end_of_turn|>",
        "<seed:eos>",
        "[EOS]",
        "[e~[",
        "<|IM_END|>",
        "<end_of_utterance>",
        "<end_of_dialogue>",
        "<eop>",
        "<|role_end|>",
        "<turn|>",
        "<|turn>",
        "<|message_end|>",
        "<|endofuser|>",
        "<|CHATBOT_TOKEN|>",
        "<|im_sep|>",
        "<|tool|>",
        "<|pad|>",
        "<|reserved_special_token_7|>",
        "<\u{ff5c}tool\u{2581}calls\u{2581}begin\u{ff5c}>",
        "[/ASSISTANT]",
        "[/SYSTEM_PROMPT]",
        "</assistant>",
        "</Model>",
        "[|assistant|]",
    ] {
        assert_eq!(turn(&format!("5{mark}6{mark}7")), "5", "{mark}");
        assert_eq!(turn(&format!(" {mark} 5{mark}6")), format!(" {mark} 5"), "{mark}");
    }
}

#[test]
fn what_is_no_mark_ends_nothing() {
    for text in [
        "a <b> c",
        "1 < 2 and 3 > 2",
        "x <end> y",
        "the <user> tag",
        "[end]",
        r"\[ 5 \]",
        "[1, 2]",
        "<|box|>",
        "<|begin_of_box|>5<|end_of_box|>",
        "5<|vision_end|>6",
        "5<|fim_middle|>6",
        "5<|end_of_solution|>6",
        "5[/MATH]6",
        "5[/b]6",
        "5[/B]6",
        "5</answer>6",
        "<eo>",
        "5 <end of page> 6",
        "5</models>6",
        "|x|<|y|",
        "1<|x|>0",
        "a<|b|<c",
        "|ab|<|cd|",
        "|ab|<|cd ef|>",
        "1<|2|>0",
        "1<|2x|>0",
        "<u|v>",
        "<|_|>",
        "<s>struck",
        "5 <|im_end| >6",
        "<|begin_of_solution|>5",
        "</b>",
        "<|",
        "<",
        "[",
        "\u{25c1}",
    ] {
        assert_eq!(turn(text), text);
        assert_eq!(after_reasoning(text), text);
    }
}

#[test]
fn text_begins_after_its_first_marks() {
    let begun = "<|begin_of_text|><|start_header_id|>assistant<|end_header_id|>\n\n5<|eot_id|>6";
    assert!(turn(begun).ends_with("\n\n5"));
    assert_eq!(turn("<s>[INST]5</s>6"), "<s>[INST]5");
    assert_eq!(
        turn("<|im_start|>assistant<|im_sep|>5<|im_end|>6"),
        "<|im_start|>assistant<|im_sep|>5"
    );
    assert_eq!(turn("assistant<|im_sep|>5"), "assistant");
}

#[test]
fn reasoning_ends_at_its_last_mark() {
    for (open, close) in [
        ("<think>", "</think>"),
        ("<THINK>", "</Think>"),
        ("<thinking>", "</thinking>"),
        ("<reasoning>", "</ reasoning >"),
        ("<thought>", "</thought>"),
        ("<scratchpad>", "</scratchpad>"),
        ("[THINK]", "[/THINK]"),
        ("<seed:think>", "</seed:think>"),
        ("\u{25c1}think\u{25b7}", "\u{25c1}/think\u{25b7}"),
        ("<|begin_of_thought|>", "<|end_of_thought|>"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("<|begin_of_reasoning|>", "<|end_of_reasoning|>"),
        ("<|channel>thought\n", "<channel|>"),
        ("<cot>", "</COT>"),
        ("<Rationale>", "</rationale>"),
        ("<draft>", "</draft>"),
        ("<inner_monologue>", "</INNER_MONOLOGUE>"),
        ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ] {
        let said = |response: &str| after_reasoning(turn(response)).to_owned();
        assert_eq!(said(&format!("{open}5{close}6")), "6", "{open}");
        // without its beginning, the end of a channel is that of the turn
        let alone = if close.starts_with("<|end|>") { "5" } else { "6" };
        assert_eq!(said(&format!("5{close}6")), alone, "{open}");
        assert_eq!(said(&format!("6{open}5")), "6", "{open}");
        assert_eq!(said(&format!("{open}5")), "", "{open}");
        assert_eq!(said(&format!("{open}5{close}6{open}7{close}")), "", "{open}");
    }
}

#[test]
fn after_its_final_channel_a_turn_ends() {
    let response = "<|channel|>analysis<|message|>5<|end|><|start|>assistant\
        <|channel|>final<|message|>6<|return|><|channel|>final<|message|>7";
    assert_eq!(after_reasoning(turn(response)), "6");
}
