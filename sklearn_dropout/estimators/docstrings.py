"""Docstring sections that all estimators share, written once."""

import inspect
from textwrap import indent

_PARAMETERS = """
hidden_layer_sizes : int or array-like of int, default=(100,)
    {hidden_layer_sizes}

activation : {{'identity', 'logistic', 'tanh', 'relu', 'elu', 'selu', 'gelu', 'silu'}}, \
default='relu'
    Activation function of the hidden units.

dropout_rate : float or array-like of float, default=0.2
    {dropout_rate}
    It is the fraction *dropped*, in [0, 1); if a paper gives the fraction retained, pass one minus
    that. A larger rate narrows the gap between training and test score, slows down learning and
    eventually underfits; 0.2 to 0.5 is usual for wide layers.

input_dropout_rate : float, default=0.0
    Fraction of the inputs dropped, independently, in [0, 1). Usually less than 0.2.

spatial_dropout_rate : {spatial_type}, default=0.0
    {spatial_dropout_rate}

dropout_type : {{'bernoulli', 'gaussian', 'alpha', 'concrete'}}, default='bernoulli'
    Kind of dropout. 'bernoulli' sets units to zero. 'gaussian' multiplies them by normal noise of
    mean 1 and standard deviation ``sqrt(rate / (1 - rate))`` [1]_ (section 10), inputs, groups and
    recurrent connections too. 'alpha' keeps the mean and variance of SELU units (Klambauer et al.
    2017): use it with ``activation='selu'`` and ``weight_init='lecun_normal'``. 'concrete' learns
    the rates of hidden layers, starting from `dropout_rate` (Gal, Hron & Kendall 2017): `alpha`
    times the number of batches is the squared length scale of their prior, and the loss counts as a
    negative log-likelihood, as those of classifiers and of ``loss='gaussian'`` are. It trains
    through PyTorch.

dropout_schedule : {{'constant', 'linear', 'early', 'late', 'curriculum', 'flat_cos'}} or \
callable, default='constant'
    Factor of all dropout rates over the epochs. 'linear' falls to 0; 'early' falls to
    0 within the first sixth of the epochs, and 'late' is 0 there and 1 afterwards (Liu et al.
    2023); 'curriculum' rises from 0 as ``1 - exp(-10 * progress)`` (Morerio et al. 2017);
    'flat_cos' is 1 for one half and then falls to 0 along a cosine. A callable takes the progress,
    from 0 to below 1, and returns a factor in [0, 1]. `partial_fit` counts its calls as epochs out
    of `max_iter`. Monte Carlo calls use the rates as given.

input_noise_std : float, default=0.0
    Standard deviation of normal noise that is added to the inputs in training, in the units of `X`.

max_norm : float, default=None
    Upper bound on the L2 norm of each hidden unit's incoming weights, applied after every step
    [1]_ (section 5.1). Values of 3 or 4 go with dropout and a large learning rate. ``None`` for
    no bound.

weight_init : {{'glorot_uniform', 'glorot_normal', 'he_uniform', 'he_normal', 'lecun_uniform', \
'lecun_normal', 'normal', 'uniform'}}, default='glorot_uniform'
    Distribution of the initial weights. 'normal' has a standard deviation of 0.05, 'uniform'
    reaches from -0.05 to 0.05, as in Keras.

solver : {{'adam', 'adamw', 'sgd'}} or subclass of torch.optim.Optimizer, default='adam'
    How weights are updated. A class is made with ``lr=learning_rate_init`` and its own defaults.

alpha : float, default=0.0001
    Strength of the L2 penalty, divided by the sample weight of the batch when added to the loss,
    as in scikit-learn's MLP. For 'adamw' it is the decoupled weight decay.

batch_size : int or 'auto', default='auto'
    Rows in a batch; 'auto' is ``min(200, n_samples)``.

learning_rate : {{'constant', 'invscaling', 'adaptive', 'cosine', 'one_cycle', \
'linear_warmup'}}, default='constant'
    Schedule of the learning rate over the epochs. 'cosine' falls from `learning_rate_init` to 0;
    'one_cycle' rises to it from a 25th within 30 % of the epochs and then falls to a 250,000th,
    both along a cosine (Smith 2018); 'linear_warmup' rises to it in a tenth of the epochs and
    stays. `partial_fit` counts its calls as epochs out of `max_iter`. The following two are for
    ``solver='sgd'`` only: 'invscaling' divides `learning_rate_init` by ``(rows seen + 1) **
    power_t`` after each epoch; 'adaptive' divides the rate by 5 each time `n_iter_no_change`
    epochs bring no gain of `tol` in the training loss (in the validation score with
    `early_stopping`).

learning_rate_init : float, default=0.001
    Initial learning rate. Networks with much dropout tolerate, and may need, a larger one.

power_t : float, default=0.5
    Exponent of ``learning_rate='invscaling'``.

max_iter : int, default=200
    Number of epochs. Without early stopping all of them run: the training loss is too noisy with
    dropout to stop on it, and there is no warning of non-convergence.

shuffle : bool, default=True
    Whether to shuffle the rows in each epoch.

random_state : int, RandomState instance or None, default=None
    Determines weights, batches, masks and the validation split. With an int, repeated fits give
    the same bits. With ``None`` every fit is different, and NumPy's global generator is left
    alone.

tol : float, default=0.0001
    Minimum improvement of the validation score that early stopping counts.

verbose : bool or int, default=False
    0 is silent, 1 shows a progress bar with the time left, 2 or more prints a line for each epoch.

warm_start : bool, default=False
    Whether `fit` continues training from the weights of the last call.

momentum : float, default=0.9
    Momentum of ``solver='sgd'``, in [0, 1].

nesterovs_momentum : bool, default=True
    Whether to use Nesterov's momentum.

early_stopping : bool, default=False
    Whether to stop when more than `n_iter_no_change` epochs in a row bring no gain of `tol` in the
    validation score (as scikit-learn's MLP does: with 10, after the 11th), and to go back to the
    weights of the best epoch. The validation set is ``X_val, y_val`` of `fit`, else a random
    `validation_fraction` of the training rows. ``scoring="neg_log_loss"`` watches the loss of a
    classifier in place of its accuracy.

validation_fraction : float, default=0.1
    Fraction of the rows that early stopping holds out, in (0, 1); stratified for classifiers.

beta_1 : float, default=0.9
    Decay rate of Adam's first moment, in [0, 1).

beta_2 : float, default=0.999
    Decay rate of Adam's second moment, in [0, 1).

epsilon : float, default=1e-08
    Number in the denominator of Adam, for numerical stability.

n_iter_no_change : int or numpy.inf, default=10
    Epochs in a row without a gain that early stopping tolerates: training ends after one more.

scoring : str, callable or None, default=None
    Score recorded after each epoch with dropout off, as for :func:`sklearn.metrics.check_scoring`.
    With a validation set, ``None`` means accuracy (classifiers) or R² (regressors); without one,
    no score.

callbacks : list of skorch callbacks, default=None
    Called during training; used as they are, not copied. They see the network in training as
    ``net.module_``, and batches as the network does: numbers of classes, standardised targets.
    ``net.predict``, and with it ``EpochScoring``, has the labels and units of `y`. `set_params` and
    searches reach their parameters by names such as ``callbacks__EarlyStopping__patience``.

device : str or torch.device, default='cpu'
    Device to train on. 'auto' takes an accelerator if there is one.
"""

_ATTRIBUTES = """
n_features_in_ : int
    Number of columns of `X`.

feature_names_in_ : ndarray of shape (n_features_in_,)
    Names of the columns, if all are strings.

n_outputs_ : int
    Number of outputs of the network; of targets, for a regressor.

n_iter_ : int
    Epochs of the last call of `fit`.

t_ : int
    Number of training rows seen, counted in each epoch.

n_layers_ : int
    Number of layers, input and output included.

out_activation_ : str
    Output function of the network.

loss_ : float
    Training loss of the last epoch: its mean over batches with dropout on, summed over the
    outputs, L2 penalty included.

best_loss_ : float or None
    Smallest training loss; ``None`` with early stopping.

loss_curve_ : list of float
    Training loss of each epoch.

validation_scores_ : list of float or None
    Validation score of each epoch, if there is a validation set.

best_validation_score_ : float or None
    The best of them.

coefs_ : list of ndarray of shape {coefs_shape}
    {coefs}; outputs of regressors are in the units of `y`.
    With ``loss='gaussian'`` the second half of the last layer's outputs are logarithms of
    variances, in standard units.

intercepts_ : list of ndarray of shape (n_out,)
    Biases of each layer.

dropout_rates_ : dict of ndarray
    Dropout rates of each kind of place, ``"hidden"``, ``"input"`` and so on, as the network was
    fitted; learned ones with ``dropout_type='concrete'``.

history_ : skorch.history.History
    One row for each epoch: ``train_loss`` and, if recorded, ``valid_loss``, ``train_score`` and
    ``valid_score``; ``dropout_rate`` of the hidden layers (a list if they differ) with a
    `dropout_schedule`; and the records of callbacks.

net_ : skorch.NeuralNet
    A skorch net around `module_`, to predict with or to save; it cannot be trained.

module_ : torch.nn.Module
    A plain module that computes the same predictions, its output of shape
    (n_samples, n_outputs_): probabilities (of the second class only, if there are two), or
    targets in the units of `y`. For ``state_dict``, export and surgery.
"""

_NOISE_ATTRIBUTE = """
noise_std_ : ndarray of shape (n_outputs_,)
    Standard deviation of the noise of the targets, in the units of `y`: root mean squared
    residual of the validation rows or, without them, of the training rows in the last epoch, with
    dropout on. The latter is too small for a network that overfits: pass `X_val` and `y_val`. With
    ``loss='poisson'`` the noise grows with the mean: its standard deviation is `noise_std_` times
    the root of the mean. With ``loss='gaussian'`` it is not used, since the network predicts the
    noise of each row.
"""

_CLASS_WEIGHT = """
class_weight : dict, list of dicts or 'balanced', default=None
    Weights of the classes, which multiply the sample weights, in loss and score, of the training
    rows and of all validation rows (`X_val` too). 'balanced' makes them inversely proportional to
    the classes' frequencies among the training rows. For multilabel targets a list with a dict for
    each label: the weights of its term in the loss for rows without it (0) and with it (1); scores
    are not weighted.
"""

_CLASSES_ATTRIBUTE = """
classes_ : ndarray of shape (n_classes,)
    Class labels; for multilabel targets, the columns' numbers.
"""

_LOSS = """
loss : {{'squared_error', 'absolute_error', 'huber', 'poisson', 'gaussian', 'quantile'}}, \
default='squared_error'
    Loss in standard units of `y`: half the squared error, the absolute error, Huber's loss
    with a threshold of one standard deviation, or half the Poisson deviance of ``exp`` of the
    output (`y` is then divided by its mean). With 'gaussian' the network predicts a mean and a
    variance for each target, and minimises the negative log-likelihood (Nix & Weigend 1994, eq. 7;
    Kendall & Gal 2017): `predict` is the mean, and `predict_uncertainty` takes the noise from the
    variance, which may depend on `X`. Logarithms of variances are bounded by 12. 'quantile' is the
    pinball loss of `quantile`.

quantile : float, default=0.5
    Quantile that ``loss='quantile'`` predicts, in (0, 1).
"""

_REFERENCES = """
.. [1] Srivastava, N., Hinton, G., Krizhevsky, A., Sutskever, I., Salakhutdinov, R. (2014).
   "Dropout: A simple way to prevent neural networks from overfitting." JMLR 15, 1929-1958.
"""


_NOTES = """
When a batch contains all training rows, equal rows are merged and their weights added: a row of
weight k and k copies of it give the same network, bit for bit. `early_stopping` holds rows out
before they are merged; pass `X_val` if copies must be equivalent to weights there too.
"""


def documented(family_parameters, family_notes="", **texts):
    """Fill ``{parameters}``, ``{attributes}`` and the like of a class's docstring.

    Parameters
    ----------
    family_parameters : str
        Takes the place of ``{family_parameters}``: those of this family alone.
    family_notes : str, default=""
        Takes the place of ``{family_notes}``.
    **texts : str
        What differs between families in the shared parameters and attributes.

    Returns
    -------
    decorate : callable (cls) -> cls
    """

    def decorate(cls):
        if cls.__doc__ is None:  # python -OO
            return cls
        doc = inspect.cleandoc(cls.__doc__)
        filled = {key: inspect.cleandoc(text) for key, text in texts.items()}
        filled = {key: indent(text, "    ").strip() for key, text in filled.items()}
        for name, section in [
            ("{parameters}", _PARAMETERS),
            ("{attributes}", _ATTRIBUTES),
            ("{class_weight}", _CLASS_WEIGHT),
            ("{classes_attribute}", _CLASSES_ATTRIBUTE),
            ("{loss}", _LOSS),
            ("{noise_attribute}", _NOISE_ATTRIBUTE),
            ("{notes}", _NOTES),
            ("{references}", _REFERENCES),
        ]:
            doc = doc.replace(name, section.strip().format(**filled))
        doc = doc.replace("{family_parameters}", inspect.cleandoc(family_parameters))
        doc = doc.replace("{family_notes}", family_notes.strip() + "\n")
        cls.__doc__ = doc
        return cls

    return decorate
