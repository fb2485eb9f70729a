#!/usr/bin/env python3
"""What the loss asks for where it cannot know: the scores that minimise the expected loss of an image that shows one certain class with
probability q and else nothing. Prints the Markdown table of docs/fidelity.md: the score of that class, and of the nine others. No data, no training."""
import numpy as np
from scipy.optimize import minimize

N_CLASSES = 10
CHANCES = (0.1, 0.3, 0.4, 0.5, 0.7, 0.9)


def one_logit(z, y, gamma):
    s = np.where(y > 0, z, -z)
    return np.logaddexp(0, -s) * np.exp(-gamma * np.logaddexp(0, s))


def image_loss(z, y, gamma, strength):
    """strength: lambda, or None for the base loss alone"""
    total = one_logit(z, y, gamma).sum()
    if strength is None:
        return total
    w = np.where((y.max() > 0) & (y == 0), strength, 1.0)
    return total + one_logit((w * z).sum() / w.sum(), y.max(), gamma)


def best_scores(q, gamma, strength):
    y = np.zeros(N_CLASSES)
    y[0] = 1
    def expected(z):
        return q * image_loss(z, y, gamma, strength) + (1 - q) * image_loss(z, 0 * y, gamma, strength)
    scores = 1 / (1 + np.exp(-minimize(expected, np.full(N_CLASSES, -2.0), method="BFGS").x))
    return scores[0], scores[1:].mean()


def main():
    print("| loss | " + " | ".join(f"q = {q}" for q in CHANCES) + " |\n|---|" + "---|" * len(CHANCES))
    for base, gamma in (("bce", 0), ("focal", 2)):
        for strength in (None, 0.1, 0.5, 0.9):
            name = f"J_{base}" if strength is None else f"J_any\\|{base}, λ {strength}"
            print(f"| {name} | " + " | ".join("{:.2f} / {:.2f}".format(*best_scores(q, gamma, strength)) for q in CHANCES) + " |")


if __name__ == "__main__":
    main()
