"""Names and descriptions of the goals, without the imports of the scores (for help and completion)."""

HEAD, FEW_SHOT, FINETUNE = "head", "few-shot", "finetune"

GOAL_NAMES = (HEAD, FEW_SHOT, FINETUNE)

HEAD_ACCURACY, FEW_SHOT_ACCURACY = "head_accuracy", "few_shot_accuracy"

ACCURACY_OF = {
    HEAD_ACCURACY: "a retrained linear head",
    FEW_SHOT_ACCURACY: "a nearest-class-mean classifier with 5 images per class",
}
"""The classifier that each expected accuracy refers to, by score name."""

TRUST = {
    HEAD: "In a study of 7 image sets, the first of 8 models was within a point of the best in 68 % of trials with 100 "
    "images and 84 % with 300.",
    FEW_SHOT: "In a study of 7 image sets, the first of 8 models was within a point of the best in 82 % of trials with "
    "100 images and 94 % with 300.",
    FINETUNE: "Little is known of this order: in fine-tunings of 8 networks on 4 image sets, its first choice lost 0 "
    "to 3 points with 300 images and 0 to 42 with 100; the largest ImageNet model did as well.",
}
"""Reliability of the order for each goal, measured by tests/studies/default_order."""
