"""What anyclass-evaluate is compared with. usage: peer_evaluate.py sklearn|loop SCORES LABELS, peer_evaluate.py versions

sklearn: pandas reads both files and joins them by name; precision, recall, F1 and F2 at 0.5, average precision and ROC-AUC of each class.
loop: the arithmetic that the paper's own code repeats for each threshold: counts by NumPy (over all images, and again over those that show
something and those that show nothing), the area under scikit-learn's ROC curve of each class, and for each class a Python loop over the images in
the order of their scores for the average precision. One threshold is timed; 0.5 and the nineteen of --multi_threshold take twenty times as long.
"""
import resource
import sys
import time

import numpy
import pandas
import sklearn
from sklearn.metrics import auc, average_precision_score, precision_recall_fscore_support, roc_auc_score, roc_curve

N_PASSES = 20


def read(scores_path, labels_path):
    scores = pandas.read_csv(scores_path)
    labels = pandas.read_csv(labels_path)
    names = list(labels.columns[1:])
    joined = labels.merge(scores, left_on=labels.columns[0], right_on="Filename", how="left", validate="one_to_one", suffixes=("_label", ""))
    if joined[names].isna().any().any():
        sys.exit("an image has no scores")
    return joined[names].to_numpy(), joined[[name + "_label" for name in names]].to_numpy()


def with_sklearn(scores, labels):
    predicted = scores >= 0.5
    values = [precision_recall_fscore_support(labels, predicted, beta=beta, average=None, zero_division=0) for beta in (1, 2)]
    ap = [average_precision_score(labels[:, c], scores[:, c]) for c in range(labels.shape[1])]
    area = [roc_auc_score(labels[:, c], scores[:, c]) for c in range(labels.shape[1])]
    return numpy.mean(values[0][2]), numpy.mean(ap), numpy.mean(area)


def average_precision(score, label):
    n_positive, total, seen, wanted = 0.0, 0.0, 0.0, numpy.sum(label)
    for i in numpy.argsort(score)[::-1]:
        seen += 1
        if label[i] == 1:
            n_positive += 1
            total += n_positive / seen
        if n_positive == wanted:
            break
    return total / n_positive if n_positive else 0.0


def counts(scores, labels, threshold):
    n_predicted = numpy.sum(scores >= threshold, axis=0)
    n_right = numpy.sum((scores >= threshold) * labels, axis=0)
    n_predicted[n_predicted == 0] = 1
    return n_right, n_predicted, numpy.sum(labels, axis=0)


def false_positive_rate(scores, labels, threshold):
    n_right, n_predicted, n_present = counts(scores, labels, threshold)
    return numpy.mean((n_predicted - n_right) / (len(scores) - n_present))


def f_beta(n_right, n_predicted, n_present, beta):
    epsilon = 1e-7
    precision, recall = n_right / (n_predicted + epsilon), n_right / n_present
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall + epsilon)


def one_threshold(scores, labels, threshold):
    shows_something = numpy.sum(labels, axis=1) > 0
    areas = []
    for c in range(scores.shape[1]):
        false_positives, true_positives, _ = roc_curve(labels[:, c], scores[:, c])
        areas.append(auc(false_positives, true_positives))
    found = counts(scores, labels, threshold)
    for part in (slice(None), shows_something, ~shows_something):
        false_positive_rate(scores[part], labels[part], threshold)
    f1, _ = f_beta(*found, 1), f_beta(*found, 2)
    ap = [average_precision(scores[:, c], labels[:, c]) for c in range(scores.shape[1])]
    predicted = numpy.sum(scores >= threshold, axis=1) > 0
    numpy.sum(predicted & shows_something), numpy.sum(~predicted & ~shows_something)
    return numpy.mean(f1), numpy.mean(ap), numpy.mean(areas)


def main():
    if sys.argv[1] == "versions":
        print("Python %s, pandas %s, NumPy %s, scikit-learn %s" % (
            sys.version.split()[0], pandas.__version__, numpy.__version__, sklearn.__version__))
        return
    start = time.perf_counter()
    scores, labels = read(*sys.argv[2:4])
    read_s = time.perf_counter() - start
    if sys.argv[1] == "sklearn":
        f1, ap, area = with_sklearn(scores, labels)
        print("pandas and scikit-learn, one threshold: macro F1 %.4f, mAP %.4f, AUC %.4f; reading and joining %.2f s, peak RSS %.0f MB; all in seconds: %.2f" % (
            f1, ap, area, read_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024e-6, time.perf_counter() - start))
        return
    start = time.perf_counter()
    f1, ap, area = one_threshold(scores, labels, 0.5)
    took = time.perf_counter() - start
    print("plain loop, one threshold: macro F1 %.4f, mAP %.4f, AUC %.4f; seconds: %.1f" % (f1, ap, area, took))
    print("plain loop, all thresholds, extrapolated from one times %d and %.2f s of reading; seconds: %.0f" % (
        N_PASSES, read_s, N_PASSES * took + read_s))


main()
