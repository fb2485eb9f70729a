"""What anyclass-evaluate is compared with. usage: peer_evaluate.py sklearn|loop SCORES LABELS, peer_evaluate.py versions

sklearn: pandas reads both files and joins them by name; precision, recall, F1 and F2 at 0.5, average precision and ROC-AUC of each class.
loop: the arithmetic that the paper's own code repeats for each threshold: counts by NumPy, and for each class a Python loop over all images in
the order of their scores for the average precision. One threshold is timed; 0.5 and the nineteen of --multi_threshold take twenty times as long.
"""
import resource
import sys
import time

import numpy
import pandas
import sklearn
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

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
    auc = [roc_auc_score(labels[:, c], scores[:, c]) for c in range(labels.shape[1])]
    return numpy.mean(values[0][2]), numpy.mean(ap), numpy.mean(auc)


def average_precision(score, label):
    n_positive, total, seen = 0, 0.0, 0
    for i in numpy.argsort(-score):
        seen += 1
        if label[i] == 1:
            n_positive += 1
            total += n_positive / seen
    return total / n_positive if n_positive else 0.0


def one_threshold(scores, labels, threshold):
    epsilon = 1e-7
    predicted = scores >= threshold
    right = numpy.sum(predicted & (labels == 1), axis=0)
    n_predicted = numpy.sum(predicted, axis=0)
    precision = right / numpy.where(n_predicted == 0, 1, n_predicted)
    recall = right / numpy.maximum(numpy.sum(labels == 1, axis=0), 1)
    f1 = 2 * precision * recall / (precision + recall + epsilon)
    ap = [average_precision(scores[:, c], labels[:, c]) for c in range(scores.shape[1])]
    return numpy.mean(f1), numpy.mean(ap)


def main():
    if sys.argv[1] == "versions":
        print("Python %s, pandas %s, NumPy %s, scikit-learn %s" % (
            sys.version.split()[0], pandas.__version__, numpy.__version__, sklearn.__version__))
        return
    start = time.perf_counter()
    scores, labels = read(*sys.argv[2:4])
    read_s = time.perf_counter() - start
    if sys.argv[1] == "sklearn":
        f1, ap, auc = with_sklearn(scores, labels)
        print("pandas and scikit-learn, one threshold: macro F1 %.4f, mAP %.4f, AUC %.4f; reading and joining %.2f s, peak RSS %.0f MB; all in seconds: %.2f" % (
            f1, ap, auc, read_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024e-6, time.perf_counter() - start))
        return
    start = time.perf_counter()
    f1, ap = one_threshold(scores, labels, 0.5)
    took = time.perf_counter() - start
    print("plain loop, one threshold: macro F1 %.4f, mAP %.4f; seconds: %.1f" % (f1, ap, took))
    print("plain loop, all thresholds, extrapolated from one times %d and %.2f s of reading; seconds: %.0f" % (
        N_PASSES, read_s, N_PASSES * took + read_s))


main()
