use super::lists::REFUSAL;
use super::prepared::{Prepared, excerpt};
use super::{AnswerFilter, Fault};

/// Refuses answers in which the LLM declines: an apology or `I cannot` with an assistant's task at
/// the start, and phrases that only an assistant uses. A sad word alone is no evidence.
pub(super) struct Refusal;

impl AnswerFilter for Refusal {
    fn check(&self, answer: &Prepared<'_>) -> Result<(), Fault> {
        match REFUSAL.find(&answer.plain) {
            Some(found) => Err(("refusal", format!("the answer declines: \"{}\"", excerpt(found)))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::FilterName;
    use super::super::tests::{codes, passes};

    #[test]
    fn refusals_are_found() {
        let refusals = [
            "I'm sorry, but I can't assist with that request.",
            "I’m sorry, but I can’t.",
            "I am sorry, I cannot provide a description of real people.",
            "Sorry, I'm not able to help with identifying the man on the left.",
            "Unfortunately, I am unable to create an advertisement for this product.",
            "I apologize, but I cannot generate content of that kind.",
            "My apologies, but I won't write a story about a real person.",
            "I cannot identify the person shown here.",
            "I'm unable to help with that.",
            "**I'm sorry, but I can't help with that.**",
            "As an AI language model, I do not have feelings about kettles.",
            "A fine day at sea. Still, I can't assist with that part of the request.",
            "Please provide more details so that I may write the poem.",
            "Please upload the image again.",
            "I don't have enough information to write a history of this lamp.",
        ];
        for text in refusals {
            assert_eq!(codes(FilterName::Refusal, text), ["refusal"], "{text}");
        }
    }

    #[test]
    fn stories_letters_and_posts_are_not_refusals() {
        passes(
            FilterName::Refusal,
            &[
                "\"I'm sorry, but I can't stay,\" said the captain, and the gulls went quiet.",
                "Sorry, not sorry: I can't stop smiling at this sunset! #golden #beach #joy",
                "I can't help but laugh at the look on that cat's face.",
                "I cannot wait for the bus to reach the sea.",
                "I'm afraid I don't like the new cushion, and I can't say so louder than with my claws.",
                "Unfortunately, the waiter could not tell a teapot from a trumpet. One star.",
                "I cannot see the far shore tonight, only the lantern and the rain.",
                "I can't answer the phone: I have paws, and I am busy being admired.",
                "Unfortunately, I can't see the sea from here, but I can hear it.",
                "Dear owner, I am sorry about the vase. I can't promise it will not happen again.",
                "Please give me more of that cake, and I will provide the applause.",
                "Access to the beach is against the rules after dark.",
            ],
        );
    }

    #[test]
    fn refusals_in_other_languages_are_found() {
        let refusals = [
            "抱歉，我无法查看图片，因此不能完成这个请求。请您提供更多的信息。",
            "很抱歉，我无法协助完成这个请求。",
            "对不起，我不能提供这方面的帮助。",
            "作为一个人工智能语言模型，我没有个人感受。",
            "抱歉，我無法識別圖片中的人物。",
            "我无法查看这张图片。",
            "请提供更多的细节，以便我写这首诗。",
            "申し訳ありませんが、そのリクエストにはお応えできません。",
            "申し訳ございませんが、画像を見ることができません。",
            "すみません、その質問にはお答えできません。",
            "私はAIなので、感情はありません。",
            "죄송합니다. 이미지를 볼 수 없어서 도와드릴 수 없습니다.",
            "죄송하지만 해당 요청을 도와드릴 수 없습니다.",
            "저는 AI 언어 모델로서 감정이 없습니다.",
            "Lo siento, pero no puedo ayudarte con eso.",
            "Lo siento, no puedo ver la imagen.",
            "Como modelo de lenguaje, no tengo opiniones.",
            "Je suis désolé, mais je ne peux pas vous aider avec cette demande.",
            "Désolé, je ne peux pas identifier les personnes.",
            "En tant qu'intelligence artificielle, je n'ai pas de chat.",
            "Es tut mir leid, aber ich kann dabei nicht helfen.",
            "Es tut mir leid, aber ich kann das Bild nicht sehen.",
            "Leider kann ich diese Anfrage nicht beantworten.",
            "Als KI habe ich keine Meinung.",
            "Desculpe, mas não posso ajudar com isso.",
            "Sinto muito, não consigo ver a imagem.",
            "Извините, но я не могу помочь с этим запросом.",
            "К сожалению, я не могу увидеть изображение.",
            "Как языковая модель, я не имею мнения.",
            "عذراً، لا أستطيع مساعدتك في هذا الطلب.",
            "آسف، لا يمكنني رؤية الصورة.",
            "بصفتي نموذج لغة، ليس لدي رأي.",
        ];
        for text in refusals {
            assert_eq!(codes(FilterName::Refusal, text), ["refusal"], "{text}");
        }
    }

    #[test]
    fn sad_stories_in_other_languages_are_not_refusals() {
        passes(
            FilterName::Refusal,
            &[
                "对不起，我不能再等你了。老船长说完，转身走进了雨里。",
                "很遗憾，今天的市场没有卖完，老人收起了摊子。",
                "孩子无法忘记那天的海。",
                "残念ながら、その日は海で泳ぐことができませんでした。",
                "ごめんなさい、もう待てません、と猫は言いたげだ。",
                "죄송하지만 오늘은 비가 와서 소풍을 갈 수 없어요.",
                "안타깝게도 기차는 이미 떠났고 할머니는 홀로 남았다.",
                "Lo siento, no puedo quedarme, dijo el capitán.",
                "No puedo dejar de sonreír al ver este atardecer.",
                "Lamentablemente, el tren ya se había ido.",
                "Je suis désolé, je ne peux pas rester, dit le capitaine.",
                "Malheureusement, le train est déjà parti.",
                "Leider kann ich heute nicht bleiben, sagte der Kapitän.",
                "Es tut mir leid, dass der Zug schon weg ist.",
                "Infelizmente, o trem já tinha partido.",
                "Desculpe, não posso ficar, disse o capitão.",
                "К сожалению, поезд уже ушёл.",
                "Простите, я не могу остаться, сказал капитан.",
                "للأسف، غادر القطار قبل أن يصل الرجل.",
            ],
        );
    }
}
