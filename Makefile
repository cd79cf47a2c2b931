# make test: set up and run every test. make demo [INPUT=path]: depth of a recording through the live node.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# A sourced ROS installation brings rclpy and the messages; without one they come as wheels.
ROS := $(if $(ROS_DISTRO),,ros)
RUN := ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST PATH=$(abspath $(BIN)):$$PATH

.PHONY: demo test lint clean

demo: $(VENV)/.demo
	$(RUN) $(BIN)/depth_ros demo $(if $(INPUT),"$(INPUT)") --out demo

test: $(VENV)/.test
	$(RUN) $(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check depth_ros test launch
	$(BIN)/mypy depth_ros

$(VENV)/bin/python:
	$(PYTHON) -m venv $(if $(ROS_DISTRO),--system-site-packages) $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools

$(VENV)/.demo: setup.py $(VENV)/bin/python
	$(BIN)/python -W ignore -m pip install --quiet --no-build-isolation --editable '.$(if $(ROS),[ros])'
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/python -W ignore -m pip install --quiet --no-build-isolation --editable '.[$(if $(ROS),ros$(comma))families$(comma)test$(comma)train]'
	touch $@

clean:
	rm -rf $(VENV) demo build install log

comma := ,
